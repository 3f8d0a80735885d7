"""Commands beside the job: what this machine can do, networks' weights, the watcher on spot machines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator import commands, weightstore
from orchestrator.progress import stderr_line
from vsalign.published import PublishedWeights

weights_app = typer.Typer(
    help="Network weights: which are here, and getting more.", no_args_is_help=True, rich_markup_mode=None
)


def doctor() -> None:
    """Say what this machine can do: versions, cores, GPUs, encoders."""
    raise typer.Exit(commands.doctor())


def spot_watch(
    file: Annotated[
        Path | None, typer.Option("--file", envvar="VSALIGN_DRAIN_FILE", help="Drain when this file appears; SECONDS in it.")
    ] = None,
    node_id: Annotated[str | None, typer.Option("--node-id", help="Ray node to drain [this machine's].")] = None,
    address: Annotated[str | None, typer.Option("--address", help="HOST:PORT of the cluster's head [this machine's].")] = None,
    aws: Annotated[str | None, typer.Option("--aws", help="Metadata service to ask [AWS's own].")] = None,
    gcp: Annotated[str | None, typer.Option("--gcp", help="Metadata service to ask [GCP's own].")] = None,
    every: Annotated[float, typer.Option("--every", min=0.1, help="Seconds between two looks.")] = 2.0,
    drain_on_rebalance: Annotated[bool, typer.Option("--drain-on-rebalance", help="AWS's early advice counts too.")] = False,
) -> None:
    """On a spot machine: wait until the cloud takes it back, tell the Ray cluster, and end."""
    from orchestrator import spotwatch

    plan = spotwatch.WatchPlan(
        file, aws or spotwatch.AWS_METADATA, gcp or spotwatch.GCP_METADATA, every, drain_on_rebalance, node_id, address
    )
    raise typer.Exit(spotwatch.watch(plan, lambda line: print(f"spot-watch: {line}", flush=True)))


@weights_app.command("list")
def weights_list() -> None:
    """Print title and licence of all weights, and where each was found or how to get it."""
    print(weightstore.listing())


@weights_app.command("get")
def weights_get(
    name: Annotated[str, typer.Argument(help="As in `vsalign weights list`.")],
    to: Annotated[Path | None, typer.Option("--to", help="Folder to put the file in [the user's own].")] = None,
    source: Annotated[str, typer.Option("--from", help="URL or file to take it from [its authors' page].")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Agree to the file's terms.")] = False,
) -> None:
    """Fetch a published weights file, after its terms were agreed to."""

    def agree(published: PublishedWeights) -> bool:
        if yes or not sys.stdin.isatty():
            return yes
        stderr_line(f"{published.title} is {published.terms}.")
        return typer.confirm("Fetch it?", err=True)

    print(weightstore.get(name, to, source, agree))
