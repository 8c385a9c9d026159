"""``python -m npu_core.cli`` is ``npuctl``."""

from npu_core.cli import main

if __name__ == "__main__":
    main()
