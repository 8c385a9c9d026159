"""``python -m npu_feature_discovery``: the same as the ``npu-feature-discovery`` command."""

from npu_feature_discovery.entry import main

if __name__ == "__main__":
    main()
