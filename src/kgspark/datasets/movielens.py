"""The data sets of MovieLens that `kgspark fetch` knows."""

from dataclasses import dataclass

BASE_URL = "https://files.grouplens.org/datasets/movielens"
TERMS = (
    "belongs to GroupLens at the University of Minnesota. It may be used for research, under the terms of its README; "
    "commercial use and passing it on need their permission. Cite: Harper and Konstan, 2015, doi:10.1145/2827872"
)
_LARGE = "train:\n  # As in the measurements of this size: shorter vectors, fewer epochs.\n  dim: 128\n  epochs: 4\n"


@dataclass(frozen=True)
class DataSet:
    """One data set.

    about     its size, in words
    md5       of the archive, as GroupLens publishes it beside the archive; None for a data set that changes: then the
              published checksum is fetched, too
    settings  further lines of its configuration
    """

    about: str
    md5: str | None
    settings: str = ""


DATA_SETS = {
    "ml-latest-small": DataSet("100,836 ratings of 610 users", None),
    "ml-100k": DataSet("100,000 ratings of 943 users", "0e33842e24a9c977be4e0107933c0723"),
    "ml-1m": DataSet("1,000,209 ratings of 6,040 users", "c4d9eecfca2ab87c1945afe126590906"),
    "ml-10m": DataSet("10 million ratings of 69,878 users", "ce571fd55effeba0271552578f2648bd"),
    "ml-20m": DataSet("20 million ratings of 138,493 users", "cd245b17a1ae2cc31bb14903e1204af3", _LARGE),
    "ml-25m": DataSet("25 million ratings of 162,541 users", "6b51fb2759a8657d3bfcbfc42b592ada", _LARGE),
    "ml-32m": DataSet("32 million ratings of 200,948 users", "d472be332d4daa821edc399621853b57", _LARGE),
}
