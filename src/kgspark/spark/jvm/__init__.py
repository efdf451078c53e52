"""The JVM that Spark runs in: how it starts, and its archive of classes."""
