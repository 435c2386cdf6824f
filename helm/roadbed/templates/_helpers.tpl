{{/* Names and labels. */}}
{{- define "roadbed.fullname" -}}
{{- $base := default "roadbed" .Values.nameOverride -}}
{{- $name := .Values.fullnameOverride | default (ternary .Release.Name (printf "%s-%s" .Release.Name $base) (contains $base .Release.Name)) -}}
{{- if gt (len $name) 32 -}}
{{- fail (printf "the name %s has %d characters, names of Ray's clusters leave room for 32; set fullnameOverride" $name (len $name)) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* Labels that select pods: (dict "root" $ "component" "exporter"). Pods of Ray have the first of them from KubeRay. */}}
{{- define "roadbed.podLabels" -}}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/part-of: roadbed
{{- end -}}

{{/* Labels of an object: (dict "root" $ "component" "exporter"). */}}
{{- define "roadbed.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: roadbed
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{ include "roadbed.podLabels" . }}
{{- end -}}

{{- define "roadbed.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{- end -}}
{{- end -}}
{{- end -}}

{{/* The same with CUDA. A digest is of one image, so this one goes by its tag. */}}
{{- define "roadbed.gpuImage" -}}
{{- with .Values.image -}}
{{ .repository }}:{{ .gpuTag | default (printf "%s-cuda" (.tag | default $.Chart.AppVersion)) }}
{{- end -}}
{{- end -}}

{{- define "roadbed.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}
