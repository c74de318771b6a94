"""Expands the SAM resources of one template in place, with AWS's own translator.  Runs in the emulator's venv.

The emulator does this for the root only; AWS does it for the children as well.
"""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import yaml

TRANSFORM = "AWS::Serverless-2016-10-31"


def main(path: Path, region: str) -> None:
    template = yaml.safe_load(path.read_text())
    if template.get("Transform") != TRANSFORM:
        return
    from samtranslator.translator.transform import transform

    os.environ["AWS_DEFAULT_REGION"] = region
    plain = transform(template, {}, SimpleNamespace(load=dict))
    plain.pop("Transform", None)
    path.write_text(yaml.safe_dump(plain, sort_keys=False, width=1000))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
