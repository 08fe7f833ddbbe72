"""The command line: python -m e2e.cluster up | down | status | build | image | …-address."""

import argparse
import sys
from pathlib import Path

from e2e.cluster import addresses, images, lifecycle, paths
from e2e.cluster.command import CommandError


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("up", help="start the cluster, building what is missing; prints the kubeconfig's path last")
    verbs.add_parser("down", help="stop the cluster and remove all that it made but the caches")
    verbs.add_parser("status", help="what runs and what is ready")
    verbs.add_parser("build", help="build binaries and images without starting anything")
    for name in addresses.ADDRESSES:
        verbs.add_parser(f"{name}-address", help=f"where the {name} answers")
    image = verbs.add_parser("image", help="build a target of a Dockerfile and bring it to the cluster")
    image.add_argument("--target", required=True)
    image.add_argument("--tag", required=True)
    image.add_argument("--context", type=Path, default=paths.REPO)
    image.add_argument("--file", type=Path, help="default: Dockerfile in the context")
    image.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    return parser.parse_args(argv)


def bring_image(options: argparse.Namespace) -> None:
    arguments = dict(pair.split("=", 1) for pair in options.build_arg)
    images.build(options.context, options.tag, target=options.target, file=options.file, arguments=arguments)
    print(images.bring(options.tag))


def main(argv: list[str]) -> int:
    options = parse(argv)
    try:
        match options.verb:
            case "up":
                print(lifecycle.up())
            case "down":
                lifecycle.down()
            case "build":
                lifecycle.build_all()
            case "status":
                return lifecycle.status()
            case "image":
                bring_image(options)
            case verb:
                print(addresses.ADDRESSES[verb.removesuffix("-address")]())
    except CommandError as failure:
        print(failure.report(), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
