"""``python -m image_root``: see the package."""

import argparse
import shutil
import sysconfig
from pathlib import Path

from image_root import compiled, interpreter, libraries, packages


def main() -> None:
    """Assemble the root."""
    parser = argparse.ArgumentParser(prog="image_root")
    parser.add_argument("--others", type=Path, required=True, help="where the packages of others were installed")
    parser.add_argument("--ours", type=Path, required=True, help="where our packages were installed")
    parser.add_argument("--license", type=Path, required=True, help="of our packages")
    parser.add_argument("--root", type=Path, required=True, help="what to make; must not exist")
    given = parser.parse_args()
    root: Path = given.root
    root.mkdir(parents=True)
    interpreter.lay_out(root)
    files = interpreter.copy(root)
    site = interpreter.site(root)
    packages.copy(given.others, given.ours, site)
    commands = packages.write_commands(given.ours, root, interpreter.executable())
    files += interpreter.machine_code(site)
    libraries.strip({*files, *libraries.copy(root, files)})
    ours = [path.name for path in given.ours.iterdir() if (path / "__init__.py").exists()]
    library = root / Path(sysconfig.get_path("stdlib")).relative_to("/")
    compiled.compile_all(root, library, site, ours)
    shutil.copy2(given.license, root / "LICENSE")
    size = sum(path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    print(f"{root}: {', '.join(commands)}; {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
