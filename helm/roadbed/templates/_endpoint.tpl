{{/* The application for Ray Serve: one job spec of kind serve, handed to roadbed.runtime.serve:application. */}}
{{- define "roadbed.serveConfig" -}}
{{- $output := dict "store" .Values.store.uri -}}
{{- $job := dict "kind" "serve" "name" .Values.endpoint.name "serve" .Values.endpoint.serve "output" $output -}}
proxy_location: EveryNode
http_options: {host: 0.0.0.0, port: 8000}
logging_config: {enable_access_log: false}
applications:
  - name: roadbed
    route_prefix: /
    import_path: roadbed.runtime.serve:application
    args:
      job: {{ toYaml $job | nindent 8 }}
{{- end -}}

{{/* Environment of head and workers. The first four are SERVE_VARIABLES of roadbed/runtime/serve_variables.py. */}}
{{- define "roadbed.endpointEnv" -}}
- {name: RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S, value: "1"}
- {name: RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S, value: "1"}
- {name: RAY_SERVE_CONTROL_LOOP_INTERVAL_S, value: "0.5"}
- {name: RAY_worker_niceness, value: "0"}
{{ include "roadbed.storeEnv" . }}
{{- with .Values.endpoint.apiKeys }}
{{- if .secret }}
- name: ROADBED_API_KEY_HASHES
  valueFrom: {secretKeyRef: {name: {{ .secret }}, key: {{ .key }}}}
{{- end }}
{{- end }}
{{- with .Values.endpoint.haproxy }}
{{- if .enabled }}
- {name: RAY_SERVE_ENABLE_HA_PROXY, value: "1"}
- {name: RAY_SERVE_THROUGHPUT_OPTIMIZED, value: "1"}
- {name: RAY_SERVE_HAPROXY_NBTHREAD, value: "1"}
- {name: RAY_SERVE_HAPROXY_MAXCONN, value: {{ .maxConnections | quote }}}
- {name: RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S, value: "3"}
{{- end }}
{{- end }}
{{- range $name, $value := .Values.endpoint.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end -}}

{{/* Resources of a pod of Ray: what it asks for is what it gets. */}}
{{- define "roadbed.rayResources" -}}
requests: {cpu: {{ .cpus | quote }}, memory: {{ .memoryGib }}Gi}
limits: {cpu: {{ .cpus | quote }}, memory: {{ .memoryGib }}Gi}
{{- end -}}

{{/* Ray's objects lie in /dev/shm; half of it leaves room for other users of shared memory. */}}
{{- define "roadbed.objectStoreBytes" -}}{{ mul .shmGib 536870912 | int64 | quote }}{{- end -}}

{{/* Refuses sizes that cannot hold what they are asked to, and secrets in plain text. */}}
{{- define "roadbed.checkEndpoint" -}}
{{- include "roadbed.checkEnv" (dict "env" .Values.endpoint.env "of" "endpoint.env") -}}
{{- $workers := .Values.endpoint.workers -}}
{{- $replicas := .Values.endpoint.serve.replicas -}}
{{- $threads := $replicas.threads | default 1 | int -}}
{{- $perPod := div (int $workers.cpus) $threads | int -}}
{{- if lt $perPod 1 -}}
{{- fail (printf "endpoint.workers.cpus: %d cannot hold a replica of endpoint.serve.replicas.threads %d; make them at least as many" (int $workers.cpus) $threads) -}}
{{- end -}}
{{- if gt (int $workers.min) (int $workers.max) -}}
{{- fail (printf "endpoint.workers: min %d is more than max %d; exchange them" (int $workers.min) (int $workers.max)) -}}
{{- end -}}
{{- if gt (int $replicas.min) (int $replicas.max) -}}
{{- fail (printf "endpoint.serve.replicas: min %d is more than max %d; exchange them" (int $replicas.min) (int $replicas.max)) -}}
{{- end -}}
{{- if lt (mul $perPod (int $workers.max) | int) (int $replicas.max) -}}
{{- fail (printf "endpoint.serve.replicas.max: %d replicas do not fit into endpoint.workers.max %d pods of %d each; set endpoint.workers.max or cpus higher" (int $replicas.max) (int $workers.max) $perPod) -}}
{{- end -}}
{{- end -}}
