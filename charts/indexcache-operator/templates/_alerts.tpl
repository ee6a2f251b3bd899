{{/*
The alert rules: one text, for the rules file and for the PrometheusRule. They fire on what is proven, never on a mean: evidence that has
reached its limit, by the very tests that operator and engines go by. So a healthy pattern raises one no more often than falseRollback says.
uid and revision are labels of the metrics, so that what fires is bound to the very rollout and revision that it speaks of. Evidence of
shadow alone raises nothing, as there is nobody to be taken back. A Prometheus that doesn't honour the operator's labels calls the rollout's
namespace exported_namespace.
*/}}
{{- define "indexcache.own" -}}
label_replace({{ . }}, "namespace", "$1", "exported_namespace", "(.+)")
{{- end -}}

{{- define "indexcache.alerts" -}}
{{- $a := .Values.alerts -}}
{{- $identity := "namespace, rollout, uid, revision" -}}
groups:
- name: indexcache
  rules:
  - alert: IndexCacheEvidenceAgainstPattern
    expr: |
      (
        max by ({{ $identity }}, guardrail) ({{ include "indexcache.own" "indexcache_operator_log_evidence" }})
          >= max by ({{ $identity }}, guardrail) ({{ include "indexcache.own" "indexcache_operator_log_limit" }})
      )
      and on (namespace, rollout)
        max by (namespace, rollout) ({{ include "indexcache.own" "indexcache_operator_rollout_phase{phase=~\"Canary|Promoting|Promoted\"}" }}) == 1
    for: 0s
    labels: {{ merge (dict "severity" $a.severity) $a.labels | toJson }}
    annotations:
      summary: >-
        Rollout {{ "{{ $labels.namespace }}/{{ $labels.rollout }}" }}, revision {{ "{{ $labels.revision }}" }}: evidence against the pattern by
        {{ "{{ $labels.guardrail }}" }} is {{ "{{ $value | printf \"%.1f\" }}" }} nats, which is over its limit
  - alert: IndexCacheEngineEvidenceAgainstPattern
    expr: |
      max by ({{ $identity }}, guardrail) (
        (indexcache_breaker_log_evidence >= indexcache_breaker_log_limit)
        and on ({{ $identity }}, instance) (max by ({{ $identity }}, instance) (indexcache_mode{mode=~"on|tripped"}) == 1)
      )
    for: 0s
    labels: {{ merge (dict "severity" $a.severity) $a.labels | toJson }}
    annotations:
      summary: >-
        Rollout {{ "{{ $labels.namespace }}/{{ $labels.rollout }}" }}, revision {{ "{{ $labels.revision }}" }}: an engine's own evidence against
        the pattern by {{ "{{ $labels.guardrail }}" }} is {{ "{{ $value | printf \"%.1f\" }}" }} nats, which is over its limit
# What people should know of the operator itself. None names a revision, so none makes the operator do anything.
- name: indexcache-operator
  rules:
  - alert: IndexCacheOperatorGone
    expr: absent(indexcache_operator_leader) and on () (count(indexcache_guardrail_min) > 0)
    for: 1m
    labels: {{ merge (dict "severity" $a.operatorSeverity) $a.labels | toJson }}
    annotations:
      summary: >-
        Engines run and no operator is scraped: nobody sees a kill, renews a permit or rolls back but the engines' own breakers. Look
        whether its pod runs and whether Prometheus may reach it
  - alert: IndexCacheOperatorWithoutLeader
    expr: max(indexcache_operator_leader) == 0 and on () (count(indexcache_guardrail_min) > 0)
    for: 1m
    labels: {{ merge (dict "severity" $a.operatorSeverity) $a.labels | toJson }}
    annotations:
      summary: >-
        Operators run and none of those that are scraped leads: kills are obeyed, but no permit is renewed, and no rollout moves or is taken
        back but by the engines' own breakers. Look at the Lease of the release and at the operators' logs
  - alert: IndexCacheRolloutUnwatched
    expr: time() - max by (namespace, rollout) ({{ include "indexcache.own" "indexcache_operator_last_successful_look_timestamp_seconds" }}) > 90
    for: 0s
    labels: {{ merge (dict "severity" $a.operatorSeverity) $a.labels | toJson }}
    annotations:
      summary: >-
        No look at rollout {{ "{{ $labels.namespace }}/{{ $labels.rollout }}" }} has succeeded for {{ "{{ $value | humanizeDuration }}" }}; its
        condition OperatorHealthy and the operator's log say why
  - alert: IndexCacheFellBack
    expr: max by (namespace, rollout) ({{ include "indexcache.own" "indexcache_operator_rollout_phase{phase=~\"FallingBack|FellBack\"}" }}) == 1
    for: 0s
    labels: {{ merge (dict "severity" $a.operatorSeverity) $a.labels | toJson }}
    annotations:
      summary: >-
        Rollout {{ "{{ $labels.namespace }}/{{ $labels.rollout }}" }} is back at the baseline; its column REASON says why, and its message what
        leads on
  - alert: IndexCacheAlertsNotServed
    expr: sum by (outcome) (increase(indexcache_operator_alerts_total{outcome=~"unauthorized|no_token|malformed|not_persisted"}[5m])) > 0
    for: 0s
    labels: {{ merge (dict "severity" $a.operatorSeverity) $a.labels | toJson }}
    annotations:
      summary: >-
        Alertmanager's calls end as {{ "{{ $labels.outcome }}" }}: an alert may be unable to roll back. Compare the receiver's token with the
        Secret of the webhook
{{- end -}}
