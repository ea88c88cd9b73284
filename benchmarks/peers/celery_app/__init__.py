"""Celery with one image a task: a Flask front end that queues, workers that predict, a client that polls."""
