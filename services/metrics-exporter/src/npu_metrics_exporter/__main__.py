"""``python -m npu_metrics_exporter``: the same as the ``npu-metrics-exporter`` command."""

from npu_metrics_exporter.entry import main

if __name__ == "__main__":
    main()
