"""Wrong inputs of every kind; what is said of each is in tests/golden/npu-metrics-exporter.txt."""

from npu_core.errors import ProblemCode
from npu_metrics_exporter.metrics.policy import OWN_LABELS

SECONDS = ("soon", "0", "0.09", "-1", "86401", "nan", "inf", "10s")
PATTERNS = ("(", "a,*", "a,b,a")
TAKEN = ("device", "label", "arch", "core", "uuid", "pci_bus_id", "pod", "serial", *sorted(OWN_LABELS - {"le"}))
PROMETHEUS = ("instance", "job", "le", "quantile", "alertname", "alertstate", "exported_pod", "__name__")

OPTIONS: dict[str, tuple[str, ...]] = {
    "listen-address": ("6254", "off", ":0", ":65536", "host:", "::1:80", "[::1:80", ",", ":80,:80"),
    "interval": SECONDS,
    "grace": ("soon", "-1", "86401", "nan"),
    "units": ("metric", " "),
    "sensor-labels": ("upper", " "),
    "include": PATTERNS,
    "exclude": PATTERNS,
    "include-sensors": PATTERNS,
    "exclude-sensors": PATTERNS,
    "static-labels": (
        *("rack", "rack=", "1rack=a", "__rack=a", "rack=a,rack=b"),
        *(f"{name}=a" for name in (*TAKEN, *PROMETHEUS)),
    ),
    "limits": (
        *("power", "power=", "power=5", "power=..", "power=a..b", "power=0...5", "power=0..5W", "power=1e400.."),
        *("power=nan..inf", "power=0x1..5", "heat=0..5", "power=5..5", "power=1000..", "power=0..5,power=0..6"),
    ),
    "keep-labels": ("a-b", "__a", "arch,arch"),
    "drop-labels": ("a-b", "device", "label", "arch,arch"),
    "max-series": ("0", "-1", "1.5", "1e3", "1000001"),
    "pod-labels": ("on", " "),
    "pod-interval": SECONDS,
    "pod-ttl": SECONDS,
    "max-in-flight": ("0", "many", "10001", "²"),
    "web-config-file": ("web.yaml", "/a\0b", " "),
    "pod-resources-socket": ("kubelet.sock", f"/{'s' * 107}", f"/{'엔' * 36}"),
    "plugin-dir": ("plugins", " "),
    "pod-logs-dir": ("logs", " "),
    "config-file": ("exporter.yaml", " "),
    "sysfs": ("sys", " "),
    "devfs": ("dev", " "),
    "log-level": ("loud",),
    "log-format": ("xml",),
    "event-loop": ("trio",),
}
"""For every option, texts that are wrong."""

HASH = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"
PAIR = "tls_server_config:\n  cert_file: a\n  key_file: b\n"
_ALL = """tls_server_config:
  cert_file: [7]
  client_auth_type: Sometimes
  min_version: TLS9
  max_version: TLS12
  cipher_suites: [TLS_NULL, TLS_AES_128_GCM_SHA256]
  curve_preferences: X25519
  prefer_server_cipher_suites: maybe
  cert_fil: a
http_server_config:
  headers:
    X-Frame-Options: never
    X-Powered-By: nobody
basic_auth_users: [a]
rate_limit:
  interval: often
  burst: 0
metrics: on
"""
_TLS = "tls_server_config"
Problem = tuple[str, int, ProblemCode]
"""Key, line, and kind."""
VALUE, UNKNOWN, MISSING, TWICE = (
    ProblemCode.VALUE,
    ProblemCode.UNKNOWN_KEY,
    ProblemCode.MISSING,
    ProblemCode.DUPLICATE_KEY,
)

WEB: tuple[tuple[str, tuple[Problem, ...]], ...] = (
    (
        _ALL,
        (
            (f"{_TLS}.cert_file", 2, VALUE),
            (f"{_TLS}.key_file", 2, MISSING),
            (f"{_TLS}.client_auth_type", 3, VALUE),
            (f"{_TLS}.min_version", 4, VALUE),
            (f"{_TLS}.cipher_suites[0]", 6, VALUE),
            (f"{_TLS}.curve_preferences", 7, VALUE),
            (f"{_TLS}.prefer_server_cipher_suites", 8, VALUE),
            (f"{_TLS}.cert_fil", 9, UNKNOWN),
            ("http_server_config.headers.X-Frame-Options", 12, VALUE),
            ("http_server_config.headers.X-Powered-By", 13, UNKNOWN),
            ("basic_auth_users", 14, VALUE),
            ("rate_limit.interval", 16, VALUE),
            ("rate_limit.burst", 17, VALUE),
            ("metrics", 18, UNKNOWN),
        ),
    ),
    ("tls_server_config: {cert_file: a}\n", ((f"{_TLS}.key_file", 1, MISSING),)),
    ("tls_server_config: {key_file: a}\n", ((f"{_TLS}.cert_file", 1, MISSING),)),
    (PAIR + "  cert: text\n", ((f"{_TLS}.cert_file", 2, VALUE),)),
    (PAIR + "  client_ca_file: c\n", ((f"{_TLS}.client_ca_file", 4, VALUE),)),
    *(
        (PAIR + f"  client_auth_type: {auth}\n", ((f"{_TLS}.client_auth_type", 4, VALUE),))
        for auth in ("RequireAndVerifyClientCert", "VerifyClientCertIfGiven", "RequireAnyClientCert")
    ),
    (PAIR + "  client_allowed_sans: [a]\n", ((f"{_TLS}.client_allowed_sans", 4, VALUE),)),
    (
        PAIR + "  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: c\n  client_allowed_sans: [a]\n",
        ((f"{_TLS}.client_allowed_sans", 6, VALUE),),
    ),
    (PAIR + "  min_version: TLS13\n  max_version: TLS12\n", ((f"{_TLS}.min_version", 4, VALUE),)),
    (PAIR + "  curve_preferences: [X25519, CurveP256]\n", ((f"{_TLS}.curve_preferences", 4, VALUE),)),
    (PAIR + "  cert_file: c\n", ((f"{_TLS}.cert_file", 4, TWICE),)),
    *(
        (f"basic_auth_users:\n  alice: {secret}\n", (("basic_auth_users.alice", 2, VALUE),))
        for secret in ("hunter2", "$2y$99$" + "a" * 53, "$1$abcdefgh$" + "a" * 22, HASH[:-1], "[1]")
    ),
    (f"basic_auth_users:\n  alice: {HASH}\n  alice: {HASH}\n", (("basic_auth_users.alice", 3, TWICE),)),
    *(
        (f"rate_limit:\n  interval: {text}\n", (("rate_limit.interval", 2, VALUE),))
        for text in ("1", "-1s", "1d", "s", "1 s", "true", "[]")
    ),
)
"""Web configurations, and what is wrong in each."""
