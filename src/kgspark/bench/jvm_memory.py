"""What the driver's JVM says of its own heap."""

from pyspark.sql import SparkSession


def heap_peak(session: SparkSession) -> int:
    """Bytes: the peaks of the heap's pools added up, so no less than the heap ever held at once, garbage included."""
    jvm = session.sparkContext._jvm
    assert jvm is not None
    pools = jvm.java.lang.management.ManagementFactory.getMemoryPoolMXBeans()
    heap = jvm.java.lang.management.MemoryType.HEAP
    return sum(pool.getPeakUsage().getUsed() for pool in pools if pool.getType().equals(heap))
