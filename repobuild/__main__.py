"""`python -m repobuild`."""

from repobuild.cli import main

if __name__ == "__main__":
    main()
