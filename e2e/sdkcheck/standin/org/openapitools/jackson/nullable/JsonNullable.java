package org.openapitools.jackson.nullable;

/** Stands in for the class of jackson-databind-nullable, so that what uses it compiles. */
public final class JsonNullable<T> {
  private final T value;

  private JsonNullable(T value) {
    this.value = value;
  }

  public static <T> JsonNullable<T> undefined() {
    return new JsonNullable<>(null);
  }

  public static <T> JsonNullable<T> of(T value) {
    return new JsonNullable<>(value);
  }

  public T get() {
    return value;
  }

  public T orElse(T other) {
    return value == null ? other : value;
  }

  public boolean isPresent() {
    return value != null;
  }
}
