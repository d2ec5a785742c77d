import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;

/**
 * Starts one Elasticsearch node from its published jars: `Launcher HOME setting=value…`. By reflection, so that a compiler
 * older than those jars will do.
 */
public class Launcher {
    public static void main(String[] arguments) throws Exception {
        Path home = Path.of(arguments[0]);
        Class<?> settings = Class.forName("org.elasticsearch.common.settings.Settings");
        Object builder = settings.getMethod("builder").invoke(null);
        for (int i = 1; i < arguments.length; i++) {
            String[] pair = arguments[i].split("=", 2);
            builder.getClass().getMethod("put", String.class, String.class).invoke(builder, pair[0], pair[1]);
        }
        builder.getClass().getMethod("put", String.class, String.class).invoke(builder, "path.home", home.toString());
        Object given = builder.getClass().getMethod("build").invoke(builder);
        Class<?> environment = Class.forName("org.elasticsearch.env.Environment");
        Object env = environment.getConstructor(settings, Path.class).newInstance(given, home.resolve("config"));
        Class<?> logs = Class.forName("org.elasticsearch.common.logging.LogConfigurator");
        logs.getMethod("setNodeName", String.class).invoke(null, "daybook-tests");
        logs.getMethod("configure", environment, boolean.class).invoke(null, env, true);
        Class<?> loader = Class.forName("org.elasticsearch.plugins.PluginsLoader");
        Object modules = loader.getMethod("loadModulesBundles", Path.class).invoke(null, home.resolve("modules"));
        Object plugins = loader.getMethod("loadPluginsBundles", Path.class).invoke(null, home.resolve("plugins"));
        Map<String, Set<String>> exports = new HashMap<>();
        Object loaded = loader.getMethod("createPluginsLoader", Set.class, Set.class, Map.class)
            .invoke(null, modules, plugins, exports);
        Class<?> type = Class.forName("org.elasticsearch.node.Node");
        Object node = type.getConstructor(environment, loader).newInstance(env, loaded);
        type.getMethod("start").invoke(node);
        new CountDownLatch(1).await();
    }
}
