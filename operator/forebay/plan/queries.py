"""The metrics of autoscaling in PromQL: of what Prometheus scrapes of sidecars, and of NVIDIA's DCGM exporter.

The chart's PodMonitor gives the series of sidecars `job`, `namespace`, `workload` and `instance`, which is the pod.
"""

from forebay.plan import names

# Two scrapes lie within it, also where they are a minute apart.
_WINDOW = "2m"
_RQ = "envoy_cluster_upstream_rq"
_QUEUE = f'job="forebay-queue",envoy_cluster_name="{names.QUEUE_CLUSTER}"'
_MODEL = f'job="forebay-queue",envoy_cluster_name=~"{names.MODEL_HTTP_CLUSTER}|{names.MODEL_GRPC_CLUSTER}"'
_BEGUN = f"{_RQ}_total"
# Fewer requests a second than any window holds: nobody asked, and nobody waited.
_NOBODY = 0.001

# Kubernetes cuts long names before it makes those of pods from them.
_LONGEST_PREFIX = 58

# GPU use in percent. Of MIG slices it isn't told.
GPU_SERIES = "DCGM_FI_DEV_GPU_UTIL"
# A scrape that doesn't honour labels leaves `pod` to the exporter's own pod, and calls the one that has the GPU so.
EXPORTED = "exported_"

# What there is, where sidecars are scraped.
SERIES = {
    names.QUEUE_METRIC: f"{_RQ}_active{{{_QUEUE}}}",
    names.QUEUE_TIME_METRIC: f"{_RQ}_time_count{{{_QUEUE}}}",
    names.RATE_METRIC: f"{_BEGUN}{{{_QUEUE}}}",
}


def build_queue_query(metric: str, which: str, *, by: str) -> str:
    """A metric of sidecars that `which` selects, a value for each `by`. See metrics_api/metrics.py."""
    if metric == names.QUEUE_METRIC:
        return f'sum by ({by}) ({{__name__=~"{_RQ}_(active|pending_active)",{_QUEUE},{which}}})'
    if metric == names.RATE_METRIC:
        return _rate(_BEGUN, f"{_QUEUE},{which}", by)
    total, service = (_rate(f"{_RQ}_time_sum", f"{stage},{which}", by) for stage in (_QUEUE, _MODEL))
    answered = _rate(f"{_RQ}_time_count", f"{_QUEUE},{which}", by)
    mean = f"clamp_min({total} - {service}, 0) / 1000 / clamp_min({answered}, {_NOBODY})"
    # Of requests of which none was answered it isn't known how long they wait.
    waiting = f"sum by ({by}) ({_RQ}_pending_active{{{_QUEUE},{which}}})"
    return f"({mean} unless ({answered} == 0 and {waiting} > 0))"


def build_gpu_query(which: str, *, by: str) -> str:
    """GPU use in percent of the GPUs that `which` selects, a mean for each `by`."""
    return f"avg by ({by}) ({GPU_SERIES}{{{which}}})"


def build_pods_gpu_query(namespace: str, pods: str) -> str:
    """GPU use in percent by `pod`, of pods whose names match a regular expression, however DCGM is scraped."""
    honoured = build_gpu_query(f'{EXPORTED}pod="",namespace="{namespace}",pod=~"{pods}"', by="pod")
    exported = build_gpu_query(f'{EXPORTED}namespace="{namespace}",{EXPORTED}pod=~"{pods}"', by=f"{EXPORTED}pod")
    return f'{honoured} or label_replace({exported}, "pod", "$1", "{EXPORTED}pod", "(.+)")'


def build_workload_query(metric: str, *, namespace: str, workload: str) -> str:
    """The sum of a metric over the instances of a workload: KEDA divides it by their number."""
    if metric == names.GPU_METRIC:
        pods = f"{workload}-"[:_LONGEST_PREFIX] + ".+"
        return f"sum({build_pods_gpu_query(namespace, pods)})"
    which = f'namespace="{namespace}",workload="{workload}"'
    return f"sum({build_queue_query(metric, which, by='instance')})"


def _rate(series: str, which: str, by: str) -> str:
    return f"sum by ({by}) (rate({series}{{{which}}}[{_WINDOW}]))"
