"""What Prometheus is told of a cluster by each of its nodes, as that one sees it. Read only when somebody asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from wavstream.cluster.node_life import NodeLife
from wavstream.cluster.nodes import Nodes
from wavstream.cluster.owners import Owners
from wavstream.metrics import MetricSample, MetricType

_STATES = ("alive", "draining", "dead")


def cluster_metrics(*, life: NodeLife, owners: Owners, nodes: Nodes) -> Callable[[], Iterator[MetricSample]]:
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
        text = "Connections that this node relays to others now."
        yield MetricSample("wavstream_relays", text, nodes.relays)
        text = "Connections that this node has relayed to others."
        yield MetricSample("wavstream_relayed_total", text, nodes.relayed, MetricType.COUNTER)
        text = "Times that no node took a connection for a session in time."
        yield MetricSample("wavstream_relays_refused_total", text, nodes.refused, MetricType.COUNTER)
        text = "Connections between nodes that were refused, since they did not know the master key."
        yield MetricSample("wavstream_node_calls_refused_total", text, nodes.strangers, MetricType.COUNTER)

    return read
