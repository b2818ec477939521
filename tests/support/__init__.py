"""What the tests share. Fixtures stand in tests/conftest.py; this is the code behind them."""
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BAKE_FILE = ROOT / "docker-bake.hcl"
