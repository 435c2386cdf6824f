{{/* What every pod must have to pass the Pod Security Standard "restricted", and a root file system that is read-only. */}}
{{- define "roadbed.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "roadbed.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* The two folders that are written besides: scratch (Ray's sessions among it) and the home with its caches. */}}
{{- define "roadbed.scratchMounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: home, mountPath: /home/roadbed}
{{- end -}}

{{- define "roadbed.scratchVolumes" -}}
- {name: tmp, emptyDir: {}}
- {name: home, emptyDir: {}}
{{- end -}}

{{- define "roadbed.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Refuses variables that are named as secrets are, whose values every reader of the manifests would see: (dict "env" ... "of" "endpoint.env"). */}}
{{- define "roadbed.checkEnv" -}}
{{- range $name, $_ := .env -}}
{{- if regexMatch "(SECRET|PASSWORD|TOKEN|ACCESS_KEY|API_KEY|CREDENTIALS?)(_ID|_KEY)?$" $name -}}
{{- fail (printf "%s.%s: is read by whoever reads the manifests; keep it in a Secret: store.secret and endpoint.apiKeys name those" $.of $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
