"""``python -m tools.cluster``: a real node with the three services, until Ctrl-C."""

import argparse
import signal
import sys
import time

from tools.cluster.namespaces import NamespaceNode
from tools.cluster.node import NodeError
from tools.cluster.programs import ROOT, MissingError, Programs, found

_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_ENTER = "PATH={path} KUBECONFIG={folder}/trust/admin.kubeconfig nsenter --target {first} --mount --net --pid"
_METRICS = "/api/v1/namespaces/kube-system/services/furiosa-npu-metrics-exporter:http-metrics/proxy/metrics"
_TRY = """
The node is up: try it from another terminal, end it here with Ctrl-C.

    alias node='{enter}'
    node kubectl get pods --all-namespaces
    node kubectl get node node1 --output json | grep npu
    sed 's/cpu: "4"/cpu: 10m/; s/8Gi/32Mi/' {root}/deployments/pod-example.yaml | node kubectl apply --filename -
    node kubectl exec npu-pod -- sh -c 'echo $NPU_DEVNAME; ls /dev'
    node kubectl get --raw {metrics}
    echo 0 > {folder}/host/sys/class/npu_mgmt/npu0_mgmt/alive     # kill a card; 1 revives it
    node kubectl edit configmap npu-device-plugin --namespace kube-system
    less {folder}/logs/kubelet.log
"""


def main() -> int:
    """Bring the node up, say what to try, wait, and take it down; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.cluster", description=__doc__)
    parser.add_argument("--warboy", type=int, default=4, help="number of Warboy cards (default 4)")
    parser.add_argument("--rngd", type=int, default=0, help="number of RNGD cards (default 0)")
    parser.add_argument("--bare", action="store_true", help="without the services")
    options = parser.parse_args()
    try:
        programs = found()
    except MissingError as error:
        sys.stderr.write(f"no node: {error}\n")
        return 1
    for number in _ENDING:
        signal.signal(number, _interrupt)
    try:
        _stay(programs, options)
    except KeyboardInterrupt:
        print("the node is gone")
    except NodeError as error:
        sys.stderr.write(f"no node: {error}\n")
        return 1
    return 0


def _stay(programs: Programs, options: argparse.Namespace) -> None:
    print(f"Kubernetes {programs.kubernetes}, containerd {programs.containerd_major}; the NPUs are SIMULATED")
    with NamespaceNode(warboys=options.warboy, rngds=options.rngd, programs=programs, tell=_tell) as node:
        if not options.bare:
            node.install()
        enter = _ENTER.format(path=node.programs.path, folder=node.folder, first=node.first)
        print(_TRY.format(enter=enter, folder=node.folder, root=ROOT, metrics=_METRICS), flush=True)
        try:
            while True:
                time.sleep(3600)
        finally:
            print("taking the node down", flush=True)


def _tell(line: str) -> None:
    print(line, flush=True)


def _interrupt(*_: object) -> None:
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
