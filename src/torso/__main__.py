"""``python -m torso``."""

from torso.cli import main

if __name__ == "__main__":
    main()
