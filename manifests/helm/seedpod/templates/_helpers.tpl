{{/* Every object is named after the release. */}}
{{- define "seedpod.name" -}}
{{- if gt (len .Release.Name) 42 }}{{ fail "the release's name must have at most 42 characters" }}{{ end -}}
{{ .Release.Name }}
{{- end }}

{{- define "seedpod.selector" -}}
app.kubernetes.io/name: seedpod
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* (list $ "component") */}}
{{- define "seedpod.labels" -}}
{{- $ := index . 0 -}}
{{ include "seedpod.selector" $ }}
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/part-of: seedpod
app.kubernetes.io/managed-by: {{ $.Release.Service }}
helm.sh/chart: {{ $.Chart.Name }}-{{ $.Chart.Version }}
{{- end }}

{{- define "seedpod.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "seedpod.leaves" -}}{{ if and (eq .Values.mode "raft") .Values.raftLeave }}true{{ end }}{{- end }}

{{/* Whether the pods may ask the API server for something. */}}
{{- define "seedpod.account" -}}{{ if or (include "seedpod.leaves" .) .Values.roleLabel }}true{{ end }}{{- end }}

{{- define "seedpod.scheme" -}}{{ if .Values.tls.enabled }}https{{ else }}http{{ end }}{{- end }}

{{/* The server's probe: by the kubelet, or from inside of the pod if the kubelet would need a certificate. */}}
{{- define "seedpod.probe" -}}
{{- $ := index . 0 -}}
{{- if and $.Values.tls.enabled (eq $.Values.tls.clientAuth "require") -}}
exec:
  command: [/usr/bin/seedpod-sidecar, --probe, {{ printf "https://127.0.0.1:9876%s" (index . 1) | quote }}]
{{- else -}}
httpGet:
  path: {{ index . 1 }}
  port: api
{{- if $.Values.tls.enabled }}
  scheme: HTTPS
{{- end }}
{{- end }}
{{- end }}

{{/* seedpod.ini as a map: what the mode and the options need, and over it the values. */}}
{{- define "seedpod.config" -}}
{{- $config := dict "pod" (dict "service" (printf "%s-headless" (include "seedpod.name" .))) }}
{{- if eq .Values.mode "raft" }}
{{- $_ := set $config "replication" (dict "mode" "raft" "leader_ordinal" 0) }}
{{- $_ := set $config "raft" (dict "peer" "{name}.{service}.{namespace}.svc:9875" "max_voters" 5) }}
{{- if .Values.raftSecret }}
{{- $_ := set $config.raft "secret_file" "/etc/seedpod/raft/secret" }}
{{- end }}
{{- $_ := set $config "bootstrap" (dict "peer_grace" "10s") }}
{{- else }}
{{- $_ := set $config "sync" (dict "mode" "stream" "interval" "10s" "on_divergence" "halt") }}
{{- $_ := set $config "readiness" (dict "leader_loss" "serve") }}
{{- end }}
{{- if .Values.tls.enabled }}
{{- $_ := set $config "tls" (dict "cert" "/etc/seedpod/tls/tls.crt" "key" "/etc/seedpod/tls/tls.key" "ca" "/etc/seedpod/tls/ca.crt" "client_auth" .Values.tls.clientAuth) }}
{{- end }}
{{- if .Values.auth.enabled }}
{{- $_ := set $config "auth" (dict "tokens" "/etc/seedpod/tokens") }}
{{- end }}
{{- toYaml (mergeOverwrite $config (deepCopy .Values.config)) }}
{{- end }}

{{/* The folder /etc/seedpod: the configuration, and beside it the Secrets of tls and auth. */}}
{{- define "seedpod.config-volume" -}}
{{- if or .Values.tls.enabled .Values.auth.enabled .Values.raftSecret -}}
projected:
  defaultMode: 0440
  sources:
  - configMap:
      name: {{ include "seedpod.name" . }}
  - secret:
      name: {{ .Values.tls.secretName | default (printf "%s-tls" (include "seedpod.name" .)) }}
      optional: true
      items:
      - {key: tls.crt, path: tls/tls.crt}
      - {key: tls.key, path: tls/tls.key}
      - {key: ca.crt, path: tls/ca.crt}
  {{- range list "read" "write" "peer" "metrics" }}
  - secret:
      name: {{ include "seedpod.name" $ }}-{{ . }}-token
      optional: true
      items:
      - {key: tokens, path: tokens/{{ . }}}
  {{- end }}
  {{- if .Values.raftSecret }}
  - secret:
      name: {{ include "seedpod.name" . }}-raft-secret
      optional: true
      items:
      - {key: secret, path: raft/secret}
  {{- end }}
{{- else -}}
configMap:
  name: {{ include "seedpod.name" . }}
{{- end }}
{{- end }}

{{/* What the three containers have in common: (list $ "init"). */}}
{{- define "seedpod.common" -}}
{{- $ := index . 0 -}}
image: {{ include "seedpod.image" $ }}
imagePullPolicy: {{ $.Values.image.pullPolicy }}
env:
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
# On the pod's volume: an emptyDir for it would keep `kubectl drain` and autoscalers from evicting the pod.
- name: SEEDPOD_SERVER_CONTROL_SOCKET
  value: /var/lib/seedpod/control.sock
resources:
  {{- toYaml (get $.Values.resources (index . 1)) | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
- name: data
  mountPath: /var/lib/seedpod
# A folder, never subPath: a file mounted so does not change when the ConfigMap does.
- name: config
  mountPath: /etc/seedpod
  readOnly: true
{{- if and (eq (index . 1) "sidecar") (include "seedpod.account" $) }}
- name: account
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end }}
{{- end }}
