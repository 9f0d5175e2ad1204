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

{{/* What the operator may do. No Secrets: pods mount what they need. */}}
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
# What fetches versions before they are served.
- apiGroups: [apps]
  resources: [daemonsets]
  verbs: [get, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
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
{{- end -}}

{{/* What the node's agent may do. No Secrets: the kubelet hands it those that a pod names. */}}
{{- define "forebay.nodeRules" -}}
- apiGroups: [forebay.dev]
  resources: [nodecaches, nodecaches/status]
  verbs: [get, create, patch]
- apiGroups: [""]
  resources: [nodes]
  verbs: [get]
{{- end -}}

{{/* What the pilot may do. It reads the Secrets that ModelDeployments name for their API keys, one by one. */}}
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
{{- end -}}
