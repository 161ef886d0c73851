"""Entry point of ``python -m arbex``."""

from arbex.cli import main

if __name__ == "__main__":
    main()
