"""Context-frozen training: context runs forward without gradient, decisions learn."""
