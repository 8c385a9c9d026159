"""The names of cipher suites, in Go and in OpenSSL."""


def _suites() -> dict[str, str]:
    """Go's names of the cipher suites up to TLS 1.2, and OpenSSL's; those of TLS 1.3 are not a choice, in neither."""
    suites = {
        f"TLS_ECDHE_{key}_WITH_{go}": f"ECDHE-{key}-{openssl}"
        for key in ("ECDSA", "RSA")
        for go, openssl in (
            ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
            ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
            ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
            ("AES_128_CBC_SHA", "AES128-SHA"),
            ("AES_256_CBC_SHA", "AES256-SHA"),
        )
    }
    fixed = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
    return suites | dict.fromkeys(fixed, "")


SUITES = _suites()
"""OpenSSL's name of each cipher suite by Go's; empty for those of TLS 1.3."""
