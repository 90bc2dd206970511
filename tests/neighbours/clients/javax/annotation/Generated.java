// JSR 250, which generated classes are marked with: nothing at hand has it for Java 17, and nothing reads it.
package javax.annotation;

public @interface Generated {
  String[] value();

  String date() default "";

  String comments() default "";
}
