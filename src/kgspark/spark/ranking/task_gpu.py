"""The GPU that a Spark task works on."""

from pyspark import TaskContext


def task_gpu(visible: int) -> int:
    """Number n of the CUDA device for the calling task, 0 ≤ n < `visible`; torch sees `visible` ≥ 1 devices.

    It is the device that Spark's resource scheduling gave the task (`spark.task.resource.gpu.amount`). Without such
    scheduling, the task's partition decides. 0 outside a task.
    """
    context = TaskContext.get()
    if context is None:
        return 0
    given = context.resources().get("gpu")
    if given is None or not given.addresses[0].isdigit():
        return context.partitionId() % visible
    # Inside a container, device numbers may start again at 0, so Spark's number may be too large.
    return int(given.addresses[0]) % visible
