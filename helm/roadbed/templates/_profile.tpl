{{/* A profile with what this chart knows where the profile says nothing: (dict "root" $ "name" "cpu" "profile" ...). */}}
{{- define "roadbed.profile" -}}
{{- $root := .root -}}
{{- include "roadbed.checkEnv" (dict "env" .profile.env "of" (printf "profiles.%s.env" .name)) -}}
{{- $name := include "roadbed.fullname" $root -}}
{{- $store := dict "uri" $root.Values.store.uri "endpoint_url" (include "roadbed.storeEndpoint" $root) "region" $root.Values.store.region "secret" (include "roadbed.storeSecret" $root) -}}
{{- $hasGpus := gt (int (dig "worker" "gpus" 0 .profile)) 0 -}}
{{- $known := dict
  "image" (ternary (include "roadbed.gpuImage" $root) (include "roadbed.image" $root) $hasGpus)
  "image_pull_policy" $root.Values.image.pullPolicy
  "image_pull_secrets" $root.Values.image.pullSecrets
  "ray_version" $root.Values.ray.version
  "service_account" (printf "%s-job" $name)
  "queue" (ternary (printf "%s-jobs" $name) "" $root.Values.kueue.enabled)
  "token_auth" $root.Values.ray.tokenAuth
-}}
{{- $profile := deepCopy .profile -}}
{{- range $key, $value := $known -}}
{{- if not (hasKey $profile $key) -}}{{- $_ := set $profile $key $value -}}{{- end -}}
{{- end -}}
{{- $own := $profile.store | default dict -}}
{{- range $key, $value := $store -}}
{{- if not (hasKey $own $key) -}}{{- $_ := set $own $key $value -}}{{- end -}}
{{- end -}}
{{- $_ := set $profile "store" $own -}}
{{ toYaml $profile }}
{{- end -}}
