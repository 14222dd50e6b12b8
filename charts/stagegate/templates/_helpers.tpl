{{- define "stagegate.labels" -}}
app.kubernetes.io/part-of: stagegate
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "stagegate.image" -}}
{{ printf "%s/%s:%s" .root.Values.image.registry .program (.root.Values.image.tag | default .root.Chart.AppVersion) }}
{{- end }}

{{- define "stagegate.operator.name" -}}
{{ printf "%s-operator" .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "stagegate.operator.selector" -}}
app.kubernetes.io/name: stagegate-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* The proxies of one gateway; the context is {root, gateway}. */}}
{{- define "stagegate.proxy.name" -}}
{{ printf "%s-proxy-%s" .root.Release.Name .gateway.name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "stagegate.proxy.selector" -}}
app.kubernetes.io/name: stagegate-proxy
app.kubernetes.io/instance: {{ .root.Release.Name }}
stagegate.dev/gateway: {{ .gateway.name }}
{{- end }}

{{- /* `proxy` with the gateway's own over it, as JSON. */}}
{{- define "stagegate.proxy.values" -}}
{{ mustMergeOverwrite (mustDeepCopy .root.Values.proxy) (.gateway.proxy | default dict) | toJson }}
{{- end }}

{{- define "stagegate.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "stagegate.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "stagegate.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Where pods run. */}}
{{- define "stagegate.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 0 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}
