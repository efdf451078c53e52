import subprocess
import sys

import pytest

from kgspark.config import Document, decode
from kgspark.errors import ConfigError
from kgspark.retrieval.settings import AudienceSettings, RecommendSettings


def test_defaults_and_bounds():
    assert RecommendSettings().k == AudienceSettings().k == 100
    with pytest.raises(ConfigError, match="k: expected a number ≥ 1, found 0"):
        decode(RecommendSettings, Document("conf", {"k": 0}))
    with pytest.raises(ConfigError, match="blok: unknown key; did you mean 'block'"):
        decode(RecommendSettings, Document("conf", {"blok": 5}))


def test_settings_load_without_faiss():
    code = "import sys; import kgspark.retrieval.settings; sys.exit('faiss' in sys.modules or 'pyspark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
