{{/*
A role and its binding: for the cluster, or one each in the namespaces that are watched.
Takes (dict "root" $ "component" "operator" "account" NAME "rules" YAML).
*/}}
{{- define "forebay.roles" -}}
{{- $own := . -}}
{{- $root := .root -}}
{{- range $namespace := $root.Values.watchNamespaces | default (list "") }}
{{- $scope := ternary "" "Cluster" (ne $namespace "") }}
{{- $name := printf "%s-%s" (include "forebay.fullname" $root) $own.component }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $scope }}Role
metadata:
  name: {{ $name }}
  {{- with $namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "forebay.labels" $own | nindent 4 }}
rules:
{{ $own.rules }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $scope }}RoleBinding
metadata:
  name: {{ $name }}
  {{- with $namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "forebay.labels" $own | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $scope }}Role
  name: {{ $name }}
subjects:
- kind: ServiceAccount
  name: {{ $own.account }}
  namespace: {{ $root.Release.Namespace }}
{{- end }}
{{- end -}}

{{/* What the operator may do. No Secrets, but for notifications.secrets: pods mount what they need. */}}
{{- define "forebay.operatorRules" -}}
- apiGroups: [forebay.dev]
  resources: [modeldeployments, modelversions, imagebuilds]
  verbs: [get, list, watch]
- apiGroups: [forebay.dev]
  resources: [modeldeployments/status, modelversions/status, imagebuilds/status]
  verbs: [patch, update]
- apiGroups: [""]
  resources: [configmaps, serviceaccounts, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
# The revisions that were rolled out.
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get, list, watch, create, patch, delete]
# More instances at once, in a step of load.
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [patch]
# What fetches versions before they are served.
- apiGroups: [apps]
  resources: [daemonsets]
  verbs: [get, create, patch, delete]
# Image builds, and what judges new revisions.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
{{- if eq .Values.autoscaling.provider "keda" }}
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [get, list, watch, create, patch, delete]
{{- else if .Capabilities.APIVersions.Has "keda.sh/v1alpha1/ScaledObject" }}
# To take away its own, once another provider scales.
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [get, list, watch, delete]
{{- end }}
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- if and .Values.notifications.enabled .Values.notifications.secrets .Values.notifications.hosts }}
# The addresses of webhooks, by the names that ModelDeployments give.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- end }}
{{- end -}}

{{/* What the metrics API may do: find the pods whose sidecars it asks. */}}
{{- define "forebay.metricsRules" -}}
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
{{- end -}}

{{/* What the node's agent may do. No Secrets: the kubelet hands it those that a pod names, and its token. */}}
{{- define "forebay.nodeRules" -}}
- apiGroups: [forebay.dev]
  resources: [nodecaches, nodecaches/status]
  verbs: [get, create, patch]
- apiGroups: [""]
  resources: [nodes, serviceaccounts]
  verbs: [get]
{{- end -}}

{{/*
What the pilot may do. It reads the Secrets that ModelDeployments name for their API keys, one by one, and wakes the
Deployments of those that sleep.
*/}}
{{- define "forebay.gatewayRules" -}}
- apiGroups: [forebay.dev]
  resources: [modeldeployments]
  verbs: [get, list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [get, patch]
{{- end -}}
