"""The preview of the dashboards: one page with the data of every panel, drawn without Grafana."""
