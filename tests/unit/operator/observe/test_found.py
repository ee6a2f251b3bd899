"""Tests what is made of the objects that a look found."""

from indexcache_operator import names
from indexcache_operator.objects import Object
from indexcache_operator.observe.asking import Answer
from indexcache_operator.observe.found import Objects, Unread, engine_pods, known_object


def objects(deployment: Object | None, *pods: Object) -> Objects:
    return Objects(deployment=deployment, services=(None, None), unknown=False, pods=list(pods))


def pod(name: str, template: str) -> Object:
    return {"metadata": {"name": name, "labels": {names.TEMPLATE_LABEL: template}}}


DEPLOYMENT: Object = {
    "metadata": {"uid": "u", "labels": {names.ROLLOUT_LABEL: "chat"}},
    "spec": {"template": {"metadata": {"labels": {names.TEMPLATE_LABEL: "new"}}}},
}


def test_pods_come_by_name_each_with_what_its_engine_answered() -> None:
    answers = [Answer(error="b is silent", silent=True), Answer(error="a refuses")]
    found = engine_pods(objects(DEPLOYMENT, pod("b", "old"), pod("a", "new")), answers)
    assert [(p.name, p.error, p.silent, p.current) for p in found] == [
        ("a", "a refuses", False, True),
        ("b", "b is silent", True, False),
    ]


def test_without_a_deployment_no_pod_is_of_its_template() -> None:
    deployments: list[Object | None] = [None, {"metadata": {}}, {"metadata": {}, "spec": {"template": {}}}]
    for deployment in deployments:
        assert not engine_pods(objects(deployment, pod("a", "new")), [Answer(error="e")])[0].current


def test_a_deployment_is_the_rollouts_own_by_its_label() -> None:
    assert objects(DEPLOYMENT).deployment_uid("chat") == "u"
    assert objects(DEPLOYMENT).deployment_uid("other") is None
    assert objects(None).deployment_uid("chat") is None


def test_what_could_not_be_read_is_not_known_to_be_there() -> None:
    assert known_object(Unread()) is None
    assert known_object(None) is None
    assert known_object(DEPLOYMENT) is DEPLOYMENT
