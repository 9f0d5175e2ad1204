"""Names that more than one place must agree on."""

from forebay.api import ModelDeployment
from forebay.plan.names import cut_digest
from forebay.plan.pods import build_prefix
from forebay.plan.resolve import resolve
from forebay.plan.site import Site
from forebay.plan.workloads import build_revision


def test_a_workload_s_name_without_its_digest_is_what_its_revisions_share() -> None:
    script = {"custom": {"script": "class A:\n  def predict(self, x): return x\n"}}
    serving = resolve(
        ModelDeployment.model_validate(
            {
                "apiVersion": "forebay.dev/v1alpha1",
                "kind": "ModelDeployment",
                "metadata": {"name": "two-digits"},
                "spec": {"predictor": script, "transformer": script},
            }
        )
    )
    planned = build_revision(serving, Site()).workloads
    assert [cut_digest(each.name) for each in planned] == ["two-digits-predictor", "two-digits-transformer"]
    assert [build_prefix(each.workload) for each in planned] == [cut_digest(each.name) for each in planned]
