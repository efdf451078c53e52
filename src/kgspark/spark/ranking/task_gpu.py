"""Which GPU of its machine a Spark task works on."""

from pyspark import TaskContext


def task_gpu(visible: int) -> int:
    """Number, 0 ≤ n < `visible`, of the CUDA device for the task that asks; `visible` ≥ 1 is how many torch sees.

    The one that Spark's resource scheduling gave it (`spark.task.resource.gpu.amount`); without that, tasks are dealt
    out by their partition. 0 outside a task.
    """
    context = TaskContext.get()
    if context is None:
        return 0
    given = context.resources().get("gpu")
    if given is None or not given.addresses[0].isdigit():
        return context.partitionId() % visible
    # A container may number the devices that it sees anew.
    return int(given.addresses[0]) % visible
