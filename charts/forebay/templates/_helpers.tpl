{{/* The beginning of all names. The longest suffix has to fit into 63 characters behind it. */}}
{{- define "forebay.fullname" -}}
{{- $name := .Release.Name -}}
{{- if not (contains "forebay" $name) -}}{{- $name = printf "%s-forebay" $name -}}{{- end -}}
{{- .Values.fullnameOverride | default $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* What runs beside the models, by the key of its values. */}}
{{- define "forebay.components" -}}
operator gateway{{ if eq .Values.autoscaling.provider "forebay" }} metrics{{ end }}
{{- end -}}

{{/* What an operator's or a gateway's pods are found by. Takes (dict "root" $ "component" "operator"). */}}
{{- define "forebay.selector" -}}
app.kubernetes.io/name: forebay
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of every object. Takes (dict "root" $ "component" "operator"). */}}
{{- define "forebay.labels" -}}
{{- with .root.Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
{{ include "forebay.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Name, namespace and labels of an object. Takes (dict "root" $ "component" "operator"), and a "name" if it has another. */}}
{{- define "forebay.metadata" -}}
name: {{ include "forebay.fullname" .root }}-{{ .name | default .component }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "forebay.labels" . | nindent 2 }}
{{- end -}}

{{/* An image's reference. Takes (dict "root" $ "image" "operator"). */}}
{{- define "forebay.image" -}}
{{- $default := printf "ghcr.io/forebay/%s:%s" .image .root.Chart.AppVersion -}}
{{- if eq .image "envoy" -}}{{- $default = "docker.io/envoyproxy/envoy:distroless-v1.40.0" -}}{{- end -}}
{{- get .root.Values.images .image | default $default -}}
{{- end -}}

{{/* The name of a ServiceAccount. Takes (dict "root" $ "component" "operator"). */}}
{{- define "forebay.serviceAccountName" -}}
{{- $account := (get .root.Values .component).serviceAccount -}}
{{- $created := printf "%s-%s" (include "forebay.fullname" .root) .component -}}
{{- $account.name | default (ternary $created "default" $account.create) -}}
{{- end -}}

{{/* The namespace of the node's agent. */}}
{{- define "forebay.nodeNamespace" -}}
{{- .Values.nodeCache.namespace.name | default (printf "%s-node" (include "forebay.fullname" .)) -}}
{{- end -}}

{{/* Metadata of pods. Takes (dict "root" $ "component" "operator" "annotations" (dict)). */}}
{{- define "forebay.podMetadata" -}}
{{- $own := get .root.Values .component -}}
labels:
  {{- $labels := include "forebay.labels" . | fromYaml }}
  {{- toYaml (merge $labels $own.podLabels) | nindent 2 }}
{{- with merge .annotations $own.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What says where pods run, and as whom. Takes (dict "root" $ "component" "operator"). */}}
{{- define "forebay.podPlacement" -}}
{{- $own := get .root.Values .component -}}
serviceAccountName: {{ include "forebay.serviceAccountName" . }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $own.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- if $own.topologySpreadConstraints }}
  {{- toYaml $own.topologySpreadConstraints | nindent 2 }}
  {{- else }}
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels:
        {{- include "forebay.selector" $ | nindent 8 }}
  {{- end }}
  {{- end }}
securityContext:
  runAsNonRoot: true
  {{- with .root.Values.runAsUser }}
  runAsUser: {{ . | int64 }}
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{/* Pod Security "restricted", and a root file system that nobody writes to. */}}
{{- define "forebay.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Environment of the operator and the pilot. */}}
{{- define "forebay.env" -}}
- name: FOREBAY_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: FOREBAY_POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: FOREBAY_WATCH_NAMESPACES
  value: {{ join "," .Values.watchNamespaces | quote }}
- name: FOREBAY_GATEWAY_SERVICE
  value: {{ include "forebay.fullname" . }}-gateway
- name: FOREBAY_CLUSTER_DOMAIN
  value: {{ .Values.clusterDomain }}
- name: FOREBAY_LOG_FORMAT
  value: {{ .Values.log.format }}
- name: FOREBAY_LOG_LEVEL
  value: {{ .Values.log.level | upper }}
{{- end -}}

{{/* "true" if something of Prometheus' operator is wanted. Takes (dict "root" $ "mode" "Auto" "kind" "PodMonitor"). */}}
{{- define "forebay.isMonitored" -}}
{{- $known := .root.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" .kind) -}}
{{- if or (eq .mode "Enabled") (and (eq .mode "Auto") $known) -}}true{{- end -}}
{{- end -}}

{{/* The ports that Prometheus scrapes, for those who may. Takes (dict "root" $ "also" (list)). */}}
{{- define "forebay.scrapers" -}}
{{- with .also }}
{{- toYaml . }}
{{ end -}}
{{- $namespace := .root.Values.monitoring.scrapeNamespace | default .root.Release.Namespace -}}
- namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: {{ $namespace }}
{{- end -}}
