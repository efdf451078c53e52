"""`kgspark init`: looks at tables of any columns, and writes a configuration for them. No JVM, and only first lines."""
