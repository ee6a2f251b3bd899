"""The entry point. `indexcache-operator` watches rollouts; `indexcache-operator release` ends all of them
safely, for an uninstall.

One event loop holds all: Kopf's watch, a loop for each rollout, the webhook, the election of a leader. A
signal ends it wherever it is: what was told to engines holds as long as their permits, and the next operator
goes on from the rollouts' status, at once if it stands by already.
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import aiohttp
import kopf
from aiohttp import web

from indexcache_operator import metrics, strangers
from indexcache_operator.alerts import Receiver
from indexcache_operator.api.dns import InvalidName
from indexcache_operator.beside import beside
from indexcache_operator.certificates import BadCertificate, Certificates
from indexcache_operator.control_keys import ControlKeys, NoKey, follow, opened
from indexcache_operator.credentials import Credentials
from indexcache_operator.informers.all import informed
from indexcache_operator.kube import Kube, KubeError, connect
from indexcache_operator.leading.elector import Elector
from indexcache_operator.loop import RolloutLoop
from indexcache_operator.mandate import Lead, alone
from indexcache_operator.names import rollouts_path
from indexcache_operator.observe.claims import Claims
from indexcache_operator.observe.hugging_face import HuggingFace
from indexcache_operator.observe.look import Observer
from indexcache_operator.plan import plan
from indexcache_operator.release import Releaser, stop_operator
from indexcache_operator.settings import Settings, SettingsError
from indexcache_operator.spreading import Crowd
from indexcache_operator.watch import Loops, register
from indexcache_operator.webhook import application

logger = logging.getLogger(__name__)

CRD_SECONDS = 1.0
KEPT_SECONDS = 1.5
"""How long an idle connection to an engine is kept: longer than a rollout in motion waits between two looks,
shorter than thousands at rest do.
"""


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="indexcache-operator", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("run", help="watch rollouts (the default)")
    releasing = commands.add_parser(
        "release",
        help="take all rollouts back to the baseline and let them go, so that an uninstall leaves none",
    )
    releasing.add_argument("--stop", metavar="NAMESPACE/DEPLOYMENT", help="the operator to stop first")
    releasing.add_argument(
        "--timeout",
        type=float,
        default=240.0,
        help="seconds for a rollout to reach its baseline; then it is let go",
    )
    args = parser.parse_args()
    try:
        settings = Settings.read()
    except SettingsError as error:
        sys.exit(str(error))
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    for chatty in ("aiohttp.access", "kopf.objects"):  # a line for each scrape, a line for each event
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if args.command == "release":
        try:
            asyncio.run(release(settings, args.stop, args.timeout))
        except InvalidName as error:
            sys.exit(f"--stop: {error}; expected NAMESPACE/DEPLOYMENT")
    else:
        try:
            asyncio.run(run(settings))
        except (NoKey, BadCertificate) as error:
            sys.exit(str(error))


async def run(settings: Settings) -> None:
    """Run the operator, until a signal."""
    async with connect() as kube, engines_session() as session, AsyncExitStack() as stack:
        await served(kube, settings)
        keys = await opened(kube, settings.control_keys, settings.control_keys_secret)
        certificates = Certificates(settings.tls) if settings.tls else None
        informed_reads = await stack.enter_async_context(informed(kube, settings.namespaces))
        claims = Claims()
        observer = Observer(
            kube=kube,
            session=session,
            runtime=settings.runtime,
            credentials=Credentials(keys=keys.current),
            hugging_face=HuggingFace(session, settings.hub),
            claims=claims,
            informed=informed_reads,
        )
        lead = Lead() if settings.lease else alone()
        made = partial(_loop, kube, session, observer, lead, Crowd())
        loops = Loops(made, claims, informed_reads.heard)
        informed_reads.tell(loops.told)
        elector = _elector(kube, settings, lead, loops)
        await stack.enter_async_context(_webhook(kube, settings, loops, certificates))
        registry = kopf.OperatorRegistry()
        register(registry, loops)
        following = [follow(kube, keys, settings.control_keys_secret)]
        following += [certificates.follow()] if certificates else []
        following += [elector.run()] if elector else []
        try:
            async with beside(*following):
                await kopf.operator(
                    registry=registry,
                    standalone=True,
                    clusterwide=not settings.namespaces,
                    namespaces=list(settings.namespaces),
                )
        finally:
            await loops.stop()
            if elector is not None:  # only now that nothing of this process acts any more
                await elector.give_up()


@asynccontextmanager
async def _webhook(
    kube: Kube, settings: Settings, loops: Loops, certificates: Certificates | None
) -> AsyncIterator[None]:
    """Serve alerts, metrics and health until the block ends."""
    strangers.ignore()
    receiver = Receiver(kube=kube, wake=loops.wake)
    runner = web.AppRunner(application(receiver, token=settings.token, reachable=kube.reachable))
    await runner.setup()
    try:
        context = certificates.context if certificates else None
        await web.TCPSite(runner, port=settings.port, ssl_context=context).start()
        yield
    finally:
        await runner.cleanup()


def _elector(kube: Kube, settings: Settings, lead: Lead, loops: Loops) -> Elector | None:
    """Return who elects; None where there is nobody to choose from."""
    if settings.lease is None:
        metrics.LEADER.set(1.0)
        return None
    namespace, name = settings.lease
    return Elector(
        kube=kube,
        namespace=namespace,
        name=name,
        identity=settings.identity,
        lead=lead,
        namespaces=settings.namespaces,
        changed=loops.wake_all,
    )


def _loop(
    kube: Kube,
    session: aiohttp.ClientSession,
    observer: Observer,
    lead: Lead,
    crowd: Crowd,
    namespace: str,
    name: str,
    uid: str,
) -> RolloutLoop:
    return RolloutLoop(
        kube=kube,
        session=session,
        observer=observer,
        planner=plan,
        namespace=namespace,
        name=name,
        uid=uid,
        lead=lead,
        crowd=crowd,
    )


def engines_session() -> aiohttp.ClientSession:
    """Return a session without a bound on connections: engines that hang must not keep a kill of others
    waiting for one.
    """
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_SECONDS))


async def served(kube: Kube, settings: Settings) -> None:
    """Wait until the API server serves rollouts: Kopf looks for the resource once, when it starts."""
    while True:
        try:
            await kube.served(rollouts_path(settings.namespaces[0] if settings.namespaces else None))
        except (KubeError, aiohttp.ClientError, TimeoutError, OSError) as error:
            logger.warning("waiting for the API server to serve IndexCacheRollouts: %s", error)
            await asyncio.sleep(CRD_SECONDS)
        else:
            return


async def release(settings: Settings, stop: str | None, seconds: float) -> None:
    """Send every rollout to its baseline, and let it go."""
    async with connect() as kube, engines_session() as session:
        if stop:
            namespace, _, deployment = stop.partition("/")
            await stop_operator(kube, namespace, deployment, seconds)
        keys = ControlKeys(settings.control_keys)
        keys.refresh()  # without any, engines can't be told, and their permits lapse
        observer = Observer(
            kube=kube,
            session=session,
            runtime=settings.runtime,
            credentials=Credentials(keys=keys.current),
            hugging_face=HuggingFace(session, None),
        )
        await Releaser(kube=kube, session=session, observer=observer, planner=plan).all(
            settings.namespaces, seconds
        )


if __name__ == "__main__":
    main()
