"""A session that somebody else has started is used, and left as it was."""

from typing import Any

from kgspark.spark.session import spark_session
from kgspark.spark.settings import SessionSettings


def test_an_active_session_is_used_and_left_as_it_was(spark: Any) -> None:
    zone, unset = "spark.sql.session.timeZone", "spark.sql.parquet.int96RebaseModeInWrite"
    before = spark.conf.get(unset)
    spark.conf.set(zone, "Asia/Tokyo")
    try:
        conf = {unset: "EXCEPTION", "spark.executor.memory": "9g"}
        with spark_session(SessionSettings(conf=conf), "test") as session:
            assert session is spark
            assert session.conf.get(zone) == "UTC"
            assert session.conf.get(unset) == "EXCEPTION"
        assert spark.conf.get(zone) == "Asia/Tokyo"
        assert spark.conf.get(unset) == before
        assert spark.range(3).count() == 3  # it was not stopped
    finally:
        spark.conf.set(zone, "UTC")
