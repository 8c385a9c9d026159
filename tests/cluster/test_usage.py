"""Reading the control groups of either version, without a node."""

from pathlib import Path

import pytest

from tools.cluster.usage import Usage, usage

EXPECTED = Usage(memory=20_000_000, limit=134_217_728, processor=1.5, throttled=2, killed=1)
VERSIONS = {
    1: {
        "memory/node/kubepods/burstable/podabc/123/memory.usage_in_bytes": "21000000\n",
        "memory/node/kubepods/burstable/podabc/123/memory.limit_in_bytes": "134217728\n",
        "memory/node/kubepods/burstable/podabc/123/memory.stat": "inactive_file 5\ntotal_inactive_file 1000000\n",
        "memory/node/kubepods/burstable/podabc/123/memory.oom_control": "oom_kill_disable 0\noom_kill 1\n",
        "cpu,cpuacct/node/kubepods/burstable/podabc/123/cpuacct.usage": "1500000000\n",
        "cpu,cpuacct/node/kubepods/burstable/podabc/123/cpu.stat": "nr_periods 9\nnr_throttled 2\n",
        "memory/node/kubepods/burstable/podabc/456/memory.usage_in_bytes": "7\n",
    },
    2: {
        "node/kubepods/burstable/podabc/123/memory.current": "21000000\n",
        "node/kubepods/burstable/podabc/123/memory.max": "134217728\n",
        "node/kubepods/burstable/podabc/123/memory.stat": "anon 5\ninactive_file 1000000\n",
        "node/kubepods/burstable/podabc/123/memory.events": "oom 1\noom_kill 1\n",
        "node/kubepods/burstable/podabc/123/cpu.stat": "usage_usec 1500000\nnr_periods 9\nnr_throttled 2\n",
        "node/kubepods/burstable/podabc/456/memory.current": "7\n",
    },
}


@pytest.mark.parametrize("version", VERSIONS)
def test_both_versions_tell_the_same(tmp_path: Path, version: int) -> None:
    for name, text in VERSIONS[version].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="ascii")
    roots = [tmp_path] if version == 2 else [tmp_path / "cpu,cpuacct", tmp_path / "memory"]
    assert usage(roots, "node", "123") == EXPECTED
