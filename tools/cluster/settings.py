"""The settings of a node's programs: their command lines and configuration files."""

import json
from pathlib import Path

from tools.cluster.images import PAUSE
from tools.cluster.init import ADDRESS

NODE = "node1"
SERVICES = "10.96.0.0/24"
PODS = "10.244.0.0/24"
NAMES = [
    "IP:127.0.0.1",
    "IP:10.96.0.1",
    f"IP:{ADDRESS}",
    "DNS:localhost",
    "DNS:kubernetes",
    "DNS:kubernetes.default",
    "DNS:kubernetes.default.svc",
]
"""Of the API server."""
_ETCD = "http://127.0.0.1:2379"
_NETWORK = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "pods0",
            "isGateway": True,
            "isDefaultGateway": True,
            "ipMasq": False,
            "hairpinMode": True,
            "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam", "ranges": [[{"subnet": PODS}]]},
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}
_CONTAINERD_1 = """\
version = 2
root = "{folder}/containerd/root"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/containerd/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""
_CONTAINERD_2 = """\
version = 3
root = "{folder}/containerd/root"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{pause}"
[plugins."io.containerd.cri.v1.runtime"]
  enable_cdi = true
  restrict_oom_score_adj = true
  cdi_spec_dirs = ["/etc/cdi", "/var/run/cdi"]
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "{folder}/containerd/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""


def write_containerd(folder: Path, major: int) -> None:
    """Write ``containerd/config.toml`` and the pods' network below the node's folder."""
    networks = folder / "containerd/cni"
    networks.mkdir(parents=True, exist_ok=True)
    (networks / "10-pods.conflist").write_text(json.dumps(_NETWORK), encoding="utf-8")
    text = (_CONTAINERD_1 if major == 1 else _CONTAINERD_2).format(folder=folder, pause=PAUSE)
    (folder / "containerd/config.toml").write_text(text, encoding="utf-8")


def write_kubelet(folder: Path, group: str, **others: object) -> None:
    """Write ``kubelet.yaml``; ``others`` are settings of the kubelet by their own names."""
    settings = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "address": "0.0.0.0",  # noqa: S104  # of the node's own network namespace
        "readOnlyPort": 0,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{group}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "staticPodPath": str(folder / "manifests"),
        "enforceNodeAllocatable": ["pods"],
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "clusterDNS": ["10.96.0.10"],
        # The default of 10 s would only make tests wait longer.
        "nodeStatusUpdateFrequency": "2s",
        # Changes of a ConfigMap reach its containers after one or two seconds, not after one or two minutes.
        "syncFrequency": "2s",
        "configMapAndSecretChangeDetectionStrategy": "Watch",
        **others,
    }
    (folder / "kubelet.yaml").write_text(json.dumps(settings), encoding="utf-8")


def commands(folder: Path) -> dict[str, list[str]]:
    """The command line of each program, by the name that logs have."""
    trust = folder / "trust"
    return {
        "etcd": ["etcd", "--name=node", f"--data-dir={folder}/etcd", *_etcd_addresses()],
        "api-server": [
            "kube-apiserver",
            f"--etcd-servers={_ETCD}",
            "--bind-address=0.0.0.0",
            f"--advertise-address={ADDRESS}",
            f"--service-cluster-ip-range={SERVICES}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--token-auth-file={trust}/tokens.csv",
            f"--tls-cert-file={trust}/api.crt",
            f"--tls-private-key-file={trust}/api.key",
            f"--service-account-key-file={trust}/sa.pub",
            f"--service-account-signing-key-file={trust}/sa.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--allow-privileged=true",
            "--kubelet-preferred-address-types=InternalIP",
        ],
        "scheduler": [
            "kube-scheduler",
            f"--kubeconfig={trust}/scheduler.kubeconfig",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
        ],
        "controller-manager": [
            "kube-controller-manager",
            f"--kubeconfig={trust}/controller-manager.kubeconfig",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--service-account-private-key-file={trust}/sa.key",
            f"--root-ca-file={trust}/ca.crt",
            "--node-monitor-period=2s",
        ],
        "proxy": [
            "kube-proxy",
            f"--kubeconfig={trust}/proxy.kubeconfig",
            f"--hostname-override={NODE}",
            "--proxy-mode=iptables",
            "--oom-score-adj=0",
            f"--cluster-cidr={PODS}",
            # These are the whole machine's.
            "--conntrack-max-per-core=0",
            "--conntrack-min=0",
            "--conntrack-tcp-timeout-established=0s",
            "--conntrack-tcp-timeout-close-wait=0s",
        ],
        "containerd": ["containerd", "--config", f"{folder}/containerd/config.toml"],
        "kubelet": [
            "kubelet",
            f"--config={folder}/kubelet.yaml",
            f"--kubeconfig={trust}/kubelet.kubeconfig",
            f"--hostname-override={NODE}",
            f"--node-ip={ADDRESS}",
            f"--cert-dir={folder}/kubelet-certificates",
            "--v=2",
        ],
    }


def _etcd_addresses() -> list[str]:
    peers = "http://127.0.0.1:2380"
    return [
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=node={peers}",
    ]
