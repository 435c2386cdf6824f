{{/* Selectors of pods. Those of jobs are made by `roadbed submit`, so they have no label of the release. */}}
{{- define "roadbed.allPods" -}}
matchExpressions:
  - {key: app.kubernetes.io/component, operator: In, values: [endpoint, job, exporter, store, retraining, test]}
{{- end -}}

{{- define "roadbed.rayNodes" -}}
matchExpressions:
  - {key: app.kubernetes.io/component, operator: In, values: [endpoint, job]}
{{- end -}}

{{/* Pods that read and write the store. */}}
{{- define "roadbed.storeClients" -}}
matchExpressions:
  - {key: app.kubernetes.io/component, operator: In, values: [endpoint, job, exporter]}
{{- end -}}

{{- define "roadbed.endpointPods" -}}
matchLabels: {app.kubernetes.io/instance: {{ .Release.Name }}, app.kubernetes.io/component: endpoint}
{{- end -}}

{{- define "roadbed.storePods" -}}
matchLabels: {app.kubernetes.io/instance: {{ .Release.Name }}, app.kubernetes.io/component: store}
{{- end -}}

{{/* Peers of a rule; without any, the rule is for every address. */}}
{{- define "roadbed.cidrs" -}}
{{- with . }}
to:
  {{- range . }}
  - ipBlock: {cidr: {{ . }}}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Ports of the store: those of the values, and the one of its URL. */}}
{{- define "roadbed.storePorts" -}}
{{- $ports := list -}}
{{- range .Values.networkPolicies.store.ports -}}{{- $ports = append $ports (int .) -}}{{- end -}}
{{- with .Values.store.endpointUrl -}}
{{- $host := (urlParse .).host -}}
{{- $port := ternary (regexFind "[0-9]+$" $host) (ternary "80" "443" (hasPrefix "http://" .)) (contains ":" $host) -}}
{{- $ports = append $ports (int $port) -}}
{{- end -}}
{{- range $ports | uniq }}
- {protocol: TCP, port: {{ . }}}
{{- end }}
{{- end -}}
