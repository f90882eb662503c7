"""Rules of scripts/repobuild-metrics, run as the program it is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/repobuild-metrics"


def run(path: Path, output: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    text = output if isinstance(output, str) else json.dumps(output)
    command = [sys.executable, "-c", f"import sys; print({text!r}); sys.exit({code})"]
    return subprocess.run(
        [sys.executable, SCRIPT, path, "--", *command], capture_output=True, text=True, timeout=60, check=False
    )


def samples(path: Path) -> dict[str, float]:
    lines = [line.rsplit(" ", 1) for line in path.read_text().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


@pytest.mark.parametrize(
    "output",
    [
        {"target": "d12.x86_64", "time": 1795000000, "missing": ["a", "b"]},
        [{"target": "d12.x86_64", "time": 1795000000, "missing": 2}],
        {"targets": [{"target": "d12.x86_64", "time": 1795000000, "missing": ["a", "b"]}]},
    ],
)
def test_a_success_tells_time_inputs_and_missing_wants(tmp_path: Path, output: object) -> None:
    path = tmp_path / "repobuild.prom"

    result = run(path, output)

    assert (result.returncode, json.loads(result.stdout)) == (0, output)
    seen = samples(path)
    assert seen['repobuild_inputs_timestamp_seconds{target="d12.x86_64"}'] == 1795000000
    assert seen['repobuild_missing_wants{target="d12.x86_64"}'] == 2
    assert seen["repobuild_last_run_exit_code"] == 0
    assert seen["repobuild_last_success_timestamp_seconds"] == seen["repobuild_last_run_timestamp_seconds"]
    assert path.stat().st_mode & 0o777 == 0o644
    assert [each.name for each in tmp_path.iterdir()] == ["repobuild.prom"]


def test_a_failure_is_passed_on_and_keeps_what_the_last_success_told(tmp_path: Path) -> None:
    path = tmp_path / "repobuild.prom"
    run(path, {"target": "d12.x86_64", "time": 1795000000, "missing": []})
    before = samples(path)

    result = run(path, "error, no JSON", code=5)

    after = samples(path)
    assert (result.returncode, result.stdout) == (5, "error, no JSON\n")
    assert after["repobuild_last_run_exit_code"] == 5
    for name in ('repobuild_inputs_timestamp_seconds{target="d12.x86_64"}', "repobuild_last_success_timestamp_seconds"):
        assert after[name] == before[name]


def test_a_first_failure_claims_no_success(tmp_path: Path) -> None:
    run(tmp_path / "repobuild.prom", "", code=1)

    assert "repobuild_last_success_timestamp_seconds" not in samples(tmp_path / "repobuild.prom")


def test_a_label_cannot_end_its_line(tmp_path: Path) -> None:
    run(tmp_path / "x.prom", {"target": 'a"} 1\nevil 2\\', "time": 1, "missing": 0})

    assert "\nevil" not in (tmp_path / "x.prom").read_text()


def test_an_unwritable_place_is_an_error_even_after_a_success(tmp_path: Path) -> None:
    result = run(tmp_path / "absent/x.prom", {})

    assert result.returncode == 7
    assert "not written" in result.stderr


def test_a_wrong_call_says_how(tmp_path: Path) -> None:
    result = subprocess.run([sys.executable, SCRIPT, "x"], capture_output=True, text=True, timeout=60, check=False)

    assert result.returncode == 2
    assert result.stderr.startswith("usage:")
