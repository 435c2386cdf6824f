"""`train.compile`: the same step by kernels of torch.compile, and a clear word where there is no compiler."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gpu_steps import apart, gradients, small_model
from roadbed.errors import UsageError
from roadbed.training.group import Group

SETTINGS = {"backbone": "timm:test_efficientnet", "batch_norm": "frozen", "auxiliary_head": True}


@pytest.mark.soak  # a minute or more of compiling
@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler: install g++ (Debian: apt install g++)")
def test_a_compiled_step_has_the_same_loss_and_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    (loss, ours), (expected, theirs) = (
        gradients(small_model(**SETTINGS), Group(), num_samples=2, is_compiled=is_compiled)
        for is_compiled in (True, False)
    )
    assert loss == pytest.approx(expected, rel=1e-5)
    assert apart(ours, theirs) < 1e-4


def test_without_a_compiler_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UsageError, match=r"none is there \(looked for g\+\+, clang\+\+\); install g\+\+"):
        gradients(small_model(**SETTINGS), Group(), num_samples=2, is_compiled=True)
