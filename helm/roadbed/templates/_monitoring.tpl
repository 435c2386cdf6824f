{{/* Every series of Ray says which cluster it is of, as the dashboards that come with Ray expect. */}}
{{- define "roadbed.rayRelabelings" -}}
- {sourceLabels: [__meta_kubernetes_pod_label_ray_io_cluster], targetLabel: ray_io_cluster}
- {sourceLabels: [__meta_kubernetes_pod_label_ray_io_group], targetLabel: ray_io_group}
- {sourceLabels: [__meta_kubernetes_pod_label_roadbed_dev_run], targetLabel: roadbed_run}
{{- end -}}

{{/* Pods of Ray, of jobs and of the endpoint: jobs are not of the release, but in its namespace. */}}
{{- define "roadbed.rayPods" -}}
- {key: app.kubernetes.io/component, operator: In, values: [endpoint, job]}
{{- end -}}
