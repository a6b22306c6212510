{{/* On every object. */}}
{{- define "plimsoll.labels" -}}
{{ include "plimsoll.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: plimsoll
{{- end }}

{{/* On the adapter's pods, for ever: a Deployment cannot change it. */}}
{{- define "plimsoll.selector" -}}
app.kubernetes.io/name: plimsoll-adapter
{{- end }}

{{- define "plimsoll.image" -}}
{{- $repository := required "image.repository must be given: where the image is that was made of deploy/Dockerfile" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* The adapter registers itself: with a certificate that others make, the registration is the chart's. */}}
{{- define "plimsoll.registersItself" -}}
{{- if and .Values.apiService.register (eq .Values.certificate.from "Adapter") }}true{{ end }}
{{- end }}

{{/* Where its certificate is mounted from. */}}
{{- define "plimsoll.certificateSecret" -}}
{{- if eq .Values.certificate.from "CertManager" }}plimsoll-adapter-tls{{ else if eq .Values.certificate.from "Secret" }}{{ .Values.certificate.secretName }}{{ end }}
{{- end }}

{{/* An address of its own before a port. */}}
{{- define "plimsoll.bindHost" -}}
{{- if contains ":" .Values.bindAddress }}[{{ .Values.bindAddress }}]{{ else }}{{ .Values.bindAddress }}{{ end }}
{{- end }}

{{/* What is done for objects and their workloads. */}}
{{- define "plimsoll.workloadRules" -}}
# The objects themselves are read, never written; only their status is.
- apiGroups: [autoscaling.plimsoll.dev]
  resources: [loadawareautoscalers]
  verbs: [list, watch]
- apiGroups: [autoscaling.plimsoll.dev]
  resources: [loadawareautoscalers/status]
  verbs: [patch]
# An HPA for each object that acts; update and get give one back that was taken over.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, update, patch, delete]
# Which pods there are, and where their metrics are.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# Their CPU, where an object says so (load.cpu.resourceMetrics).
- apiGroups: [metrics.k8s.io]
  resources: [pods]
  verbs: [list]
# How many replicas a workload asks for; patch writes them with actuation Scale.
{{- range concat .Values.scaleTargets .Values.extraScaleTargets }}
- apiGroups: {{ toJson .apiGroups }}
  resources: {{ toJson .resources }}
  verbs: [get, patch]
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
