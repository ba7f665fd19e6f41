"""What Prometheus is told of a cluster by each of its nodes, as that one sees it. Read only when somebody asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from wavstream.cluster.jetstream import JetStream
from wavstream.cluster.node_journals import NodeJournals
from wavstream.cluster.node_life import NodeLife
from wavstream.cluster.nodes import Nodes
from wavstream.cluster.owners import Owners
from wavstream.metrics import MetricSample, MetricType

_STATES = ("alive", "draining", "dead")


def cluster_metrics(
    *, engine: JetStream, life: NodeLife, owners: Owners, nodes: Nodes, journals: NodeJournals
) -> Callable[[], Iterator[MetricSample]]:
    """Return what reads them."""

    def read() -> Iterator[MetricSample]:
        counted = Counter(
            "dead" if not life.is_alive(state.name) else "draining" if state.is_draining else "alive"
            for state in life.states()
        )
        for state in _STATES:
            text = "Nodes of the cluster, as this one sees them."
            yield MetricSample("wavstream_cluster_nodes", text, counted[state], labels={"state": state})
        held = owners.counts()
        here = held.get(life.name, 0)
        for where, count in (("here", here), ("elsewhere", sum(held.values()) - here)):
            text = "Sessions that a node has, until the files of their recordings are in the bucket."
            yield MetricSample("wavstream_cluster_sessions", text, count, labels={"where": where})
        text = "1 while NATS does not answer this node, or takes nothing of its journals."
        is_away = float(engine.is_away or bool(journals.copier.away_s))
        yield MetricSample("wavstream_cluster_engine_away", text, is_away)
        text = "Bytes of journals in memory that NATS has not taken yet; not what a frozen disk holds up."
        yield MetricSample("wavstream_cluster_tail_bytes", text, journals.copier.waiting_bytes)
        text = (
            "Age of the oldest of journals that NATS has not taken yet: what a kill of this node would take of a leg."
        )
        yield MetricSample("wavstream_cluster_tail_seconds", text, journals.copier.behind_s)
        text = "Messages of journals that NATS has taken."
        messages = journals.copier.counts.messages
        yield MetricSample("wavstream_cluster_tail_messages_total", text, messages, MetricType.COUNTER)
        if journals.body is not None:
            text = "Sealed segments of journals that wait to be uploaded."
            yield MetricSample("wavstream_cluster_journal_parts_waiting", text, journals.body.waiting)
        for what, count in (("taken", journals.take_overs.taken), ("let_go", journals.take_overs.let_go)):
            text = "Sessions that this node has taken from others, and that others have taken from it."
            name = "wavstream_cluster_take_overs_total"
            yield MetricSample(name, text, count, MetricType.COUNTER, {"what": what})
        text = "Sessions taken from others of which what was said before is not all here yet: their files wait for it."
        yield MetricSample("wavstream_cluster_sessions_joining", text, len(journals.take_overs.busy))
        text = "Connections that this node relays to others now."
        yield MetricSample("wavstream_relays", text, nodes.hand_overs.relays)
        text = "Connections that this node has relayed to others."
        yield MetricSample("wavstream_relayed_total", text, nodes.hand_overs.relayed, MetricType.COUNTER)
        text = "Times that no node took a connection for a session in time."
        yield MetricSample("wavstream_relays_refused_total", text, nodes.hand_overs.refused, MetricType.COUNTER)
        text = "Connections between nodes that were refused, since they did not know the master key."
        yield MetricSample("wavstream_node_calls_refused_total", text, nodes.strangers, MetricType.COUNTER)

    return read
