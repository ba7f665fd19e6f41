{{- define "wavstream.labels" -}}
app.kubernetes.io/name: wavstream
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
