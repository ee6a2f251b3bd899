"""Writes every generated file: the CRD, the chart's copy, their reference, the table of what is refused,
and the diagram of phases.

python -m scripts.generate
"""

from scripts.generate import compatibility, crd, phases


def main() -> None:
    """Write them, and print which."""
    for path, text in (crd.render() | compatibility.render() | phases.render()).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(path.relative_to(crd.ROOT))


if __name__ == "__main__":
    main()
