{{/* Where the store is, and how a container reaches it. */}}
{{- define "roadbed.storeName" -}}{{ include "roadbed.fullname" . }}-store{{- end -}}

{{- define "roadbed.storeEndpoint" -}}
{{- if .Values.objectStore.embedded.enabled -}}
http://{{ include "roadbed.storeName" . }}.{{ .Release.Namespace }}.svc:8333
{{- else -}}
{{ .Values.store.endpointUrl }}
{{- end -}}
{{- end -}}

{{/* Secret of the store's keys; none where the cloud gives credentials. */}}
{{- define "roadbed.storeSecret" -}}
{{- if .Values.objectStore.embedded.enabled -}}
{{ .Values.objectStore.embedded.existingSecret | default (printf "%s-generated" (include "roadbed.storeName" .)) }}
{{- else -}}
{{ .Values.store.secret }}
{{- end -}}
{{- end -}}

{{- define "roadbed.storeBucket" -}}
{{ .Values.store.uri | trimPrefix "s3://" | splitList "/" | first }}
{{- end -}}

{{- define "roadbed.storeEnv" -}}
- {name: AWS_REGION, value: {{ .Values.store.region | quote }}}
{{- with include "roadbed.storeEndpoint" . }}
- {name: AWS_ENDPOINT_URL, value: {{ . | quote }}}
{{- end }}
{{- with include "roadbed.storeSecret" . }}
{{- range list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
- name: {{ . }}
  valueFrom: {secretKeyRef: {name: {{ include "roadbed.storeSecret" $ }}, key: {{ . }}}}
{{- end }}
{{- end }}
{{- end -}}
