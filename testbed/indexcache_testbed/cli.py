"""The command `testbed`: a datacentre on one machine.

Commands are thin: each calls one function of `cluster` and prints. What a user can act on is one line,
without a traceback.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ParamSpec

import typer
from rich.markup import escape

from . import product as products
from .cluster import (
    Cluster,
    TestbedError,
    addons,
    base_image,
    clean,
    engine_environment,
    inspect,
    lifecycle,
    project_images,
    tenancy,
)
from .cluster import build as building
from .cluster.layout import DEFAULT_NAME, Layout
from .cluster.report import Reporter

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__.splitlines()[0]
)
report = Reporter()
P = ParamSpec("P")

Name = Annotated[
    str,
    typer.Option(
        "--name", envvar="TESTBED_NAME", help="The cluster's name; clusters of other names are left alone."
    ),
]
PASS_ON = {"allow_interspersed_args": False, "ignore_unknown_options": True}


def told(command: Callable[P, None]) -> Callable[P, None]:
    """Print a TestbedError and exit with status 1."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except TestbedError as error:
            report.console.print(f"[red]testbed:[/] {escape(str(error))}")
            raise typer.Exit(1) from error

    return wrapper


def _become(argv: list[str], environment: dict[str, str]) -> None:
    sys.stdout.flush()
    os.execvpe(argv[0], argv, environment)


@app.command()
@told
def build() -> None:
    """Build everything that is missing in the cache."""
    building.build(Layout.of(), report)


@app.command()
@told
def environment() -> None:
    """Make the engines' environment, if it is missing in the cache. Needs no root."""
    engine_environment.build(Layout.of(), report)


@app.command("clean-cache")
@told
def clean_cache() -> None:
    """Remove environments that nobody needs, and say of each why it goes or stays."""
    for place in clean.clean(Layout.of()):
        report.note(f"{'kept' if place.kept else 'removed'} {place.path}: {place.why}")


@app.command()
@told
def up(name: Name = DEFAULT_NAME) -> None:
    """Start the cluster, or complete it where it runs."""
    cluster = Cluster.named(name)
    lifecycle.up(cluster, report)
    report.note(
        f"gateway http://{addons.gateway_address(cluster)} (in the cluster's network: testbed run, testbed "
        "shell)"
    )


@app.command()
@told
def product() -> None:
    """Build the operator's and the runtime's images and put them into the cluster."""
    cluster = Cluster.named()
    tenancy.hold(cluster)
    products.bring(cluster, report)


@app.command()
@told
def down(
    name: Name = DEFAULT_NAME,
    everything: Annotated[bool, typer.Option("--all", help="Drop the imported images too.")] = False,
) -> None:
    """End the cluster and leave nothing of it running or mounted."""
    with report.step(f"cluster {name} down"):
        lifecycle.down(Cluster.named(name), everything=everything)


@app.command()
@told
def status(name: Name = DEFAULT_NAME) -> None:
    """Show components, node, gateway and versions. Exit status 1 if something is not as it should be."""
    lines = inspect.status(Cluster.named(name))
    width = max(len(line.what) for line in lines)
    for line in lines:
        mark = " " if not line.what else "[green]✓[/]" if line.good else "[red]✗[/]"
        report.console.print(f"{mark} {escape(line.what):{width}}  {escape(line.value)}")
    if not all(line.good for line in lines):
        raise typer.Exit(1)


@app.command()
@told
def logs(
    what: Annotated[str, typer.Argument(help="A component (kubelet, etcd, ...) or pod/NAMESPACE/NAME.")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as the log grows.")] = False,
    name: Name = DEFAULT_NAME,
) -> None:
    """Show a log."""
    _become(*inspect.log_command(Cluster.named(name), what, follow=follow))


@app.command(context_settings=PASS_ON)
@told
def run(
    command: Annotated[list[str], typer.Argument(help="The command and its arguments.")],
    name: Name = DEFAULT_NAME,
) -> None:
    """Run a command in the cluster's network, with KUBECONFIG set and kubectl, helm and promtool on the
    PATH.
    """
    cluster = Cluster.named(name)
    tenancy.hold(cluster)
    _become(cluster.enter(command), {**os.environ, **cluster.environment()})


@app.command()
@told
def shell(name: Name = DEFAULT_NAME) -> None:
    """Open a shell in the cluster's network."""
    cluster = Cluster.named(name)
    tenancy.hold(cluster)
    inside = cluster.enter([os.environ.get("SHELL", "/bin/bash")])
    _become(inside, {**os.environ, **cluster.environment(), "debian_chroot": f"testbed {name}"})


@app.command()
@told
def image(
    tag: Annotated[str, typer.Argument(help="The image's full name with tag.")],
    context: Annotated[Path, typer.Argument(help="The build context.", exists=True, file_okay=False)],
    target: Annotated[str | None, typer.Option(help="The stage to build.")] = None,
    dockerfile: Annotated[
        Path | None, typer.Option("-f", "--file", help="Default: Dockerfile in the context.")
    ] = None,
    build_arg: Annotated[
        list[str] | None, typer.Option(help=f"NAME=VALUE; BASE is {base_image.PYTHON_BASE} if not given.")
    ] = None,
    load: Annotated[bool, typer.Option(help="Put it into the running cluster.")] = True,
    name: Name = DEFAULT_NAME,
) -> None:
    """Build an image from a Dockerfile on the local base."""
    pairs = [pair.partition("=") for pair in build_arg or []]
    if wrong := [key for key, equals, _ in pairs if not equals]:
        raise TestbedError(f"--build-arg: {wrong[0]!r} found, NAME=VALUE expected")
    cluster = Cluster.named(name)
    with report.step(f"image {tag}"):
        archive = project_images.build_project_image(
            cluster.layout,
            tag,
            context,
            target=target,
            dockerfile=dockerfile,
            arguments={key: value for key, _, value in pairs},
        )
        if load:
            project_images.load(cluster, archive)


@app.command("load-image")
@told
def load_image(
    archives: Annotated[list[Path], typer.Argument(help="OCI archives.", exists=True, dir_okay=False)],
    name: Name = DEFAULT_NAME,
) -> None:
    """Put images from OCI archives into the running cluster."""
    for archive in archives:
        with report.step(f"load {archive.name}"):
            project_images.load(Cluster.named(name), archive)


@app.command()
@told
def receiver(
    token: Annotated[str, typer.Option(help="The bearer token.", envvar="TESTBED_RECEIVER_TOKEN")],
    url: Annotated[str, typer.Option(help="Address of the webhook.")] = addons.DEFAULT_RECEIVER,
    name: Name = DEFAULT_NAME,
) -> None:
    """Tell Alertmanager where alerts go."""
    with report.step(f"alerts go to {url}"):
        addons.configure_receiver(Cluster.named(name), url=url, token=token)


if __name__ == "__main__":
    app()
